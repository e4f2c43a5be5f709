import { Body, Delete, Get, HttpCode, Param, Patch, Post, Put, Query } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiNotFoundResponse,
  ApiOkResponse,
  ApiOperation,
} from '@nestjs/swagger';
import { found } from '../http/problem';
import { ById, Resource } from '../http/resource';
import { NewCategory, Category, CategoryChanges, CategoryPage, CategoryQuery, CategoryReplacement } from './category';
import { CategoriesRepository } from './categories.repository';

@Resource('categories')
export class CategoriesController {
  constructor(private readonly categories: CategoriesRepository) {}

  @Get()
  @ApiOperation({ summary: 'List categories' })
  @ApiOkResponse({ type: CategoryPage })
  list(@Query() query: CategoryQuery) {
    return this.categories.list(query);
  }

  @Post()
  @ApiOperation({ summary: 'Create a category' })
  @ApiCreatedResponse({ type: Category })
  create(@Body() category: NewCategory) {
    return this.categories.create(category);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Read a category' })
  @ApiOkResponse({ type: Category })
  @ApiNotFoundResponse()
  async read(@Param() { id }: ById) {
    return found(await this.categories.find(id), 'category', id);
  }

  @Patch(':id')
  @ApiOperation({ summary: 'Change some fields of a category' })
  @ApiOkResponse({ type: Category })
  @ApiNotFoundResponse()
  async change(@Param() { id }: ById, @Body() changes: CategoryChanges) {
    return found(await this.categories.change(id, changes), 'category', id);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Replace all fields of a category' })
  @ApiOkResponse({ type: Category })
  @ApiNotFoundResponse()
  async replace(@Param() { id }: ById, @Body() category: CategoryReplacement) {
    return found(await this.categories.change(id, { description: null, ...category }), 'category', id);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a category; its products stay, without one' })
  @ApiNoContentResponse()
  @ApiNotFoundResponse()
  async remove(@Param() { id }: ById): Promise<void> {
    found(await this.categories.remove(id), 'category', id);
  }
}
