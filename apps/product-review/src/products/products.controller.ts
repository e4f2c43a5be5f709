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
import { NewProduct, Product, ProductChanges, ProductPage, ProductQuery, ProductReplacement } from './product';
import { ProductsRepository } from './products.repository';

@Resource('products')
export class ProductsController {
  constructor(private readonly products: ProductsRepository) {}

  @Get()
  @ApiOperation({ summary: 'List products' })
  @ApiOkResponse({ type: ProductPage })
  list(@Query() query: ProductQuery) {
    return this.products.list(query);
  }

  @Post()
  @ApiOperation({ summary: 'Create a product' })
  @ApiCreatedResponse({ type: Product })
  create(@Body() product: NewProduct) {
    return this.products.create(product);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Read a product' })
  @ApiOkResponse({ type: Product })
  @ApiNotFoundResponse()
  async read(@Param() { id }: ById) {
    return found(await this.products.find(id), 'product', id);
  }

  @Patch(':id')
  @ApiOperation({ summary: 'Change some fields of a product' })
  @ApiOkResponse({ type: Product })
  @ApiNotFoundResponse()
  async change(@Param() { id }: ById, @Body() changes: ProductChanges) {
    return found(await this.products.change(id, changes), 'product', id);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Replace all fields of a product' })
  @ApiOkResponse({ type: Product })
  @ApiNotFoundResponse()
  async replace(@Param() { id }: ById, @Body() product: ProductReplacement) {
    return found(
      await this.products.change(id, { description: null, price: null, category_id: null, ...product }),
      'product',
      id,
    );
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a product, and its reviews' })
  @ApiNoContentResponse()
  @ApiNotFoundResponse()
  async remove(@Param() { id }: ById): Promise<void> {
    found(await this.products.remove(id), 'product', id);
  }
}
