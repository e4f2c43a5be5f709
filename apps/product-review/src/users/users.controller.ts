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
import { NewUser, User, UserChanges, UserPage, UserQuery, UserReplacement } from './user';
import { UsersRepository } from './users.repository';

@Resource('users')
export class UsersController {
  constructor(private readonly users: UsersRepository) {}

  @Get()
  @ApiOperation({ summary: 'List users' })
  @ApiOkResponse({ type: UserPage })
  list(@Query() query: UserQuery) {
    return this.users.list(query);
  }

  @Post()
  @ApiOperation({ summary: 'Create a user' })
  @ApiCreatedResponse({ type: User })
  create(@Body() user: NewUser) {
    return this.users.create(user);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Read a user' })
  @ApiOkResponse({ type: User })
  @ApiNotFoundResponse()
  async read(@Param() { id }: ById) {
    return found(await this.users.find(id), 'user', id);
  }

  @Patch(':id')
  @ApiOperation({ summary: 'Change some fields of a user' })
  @ApiOkResponse({ type: User })
  @ApiNotFoundResponse()
  async change(@Param() { id }: ById, @Body() changes: UserChanges) {
    return found(await this.users.change(id, changes), 'user', id);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Replace all fields of a user' })
  @ApiOkResponse({ type: User })
  @ApiNotFoundResponse()
  async replace(@Param() { id }: ById, @Body() user: UserReplacement) {
    return found(await this.users.change(id, { full_name: null, ...user }), 'user', id);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a user, and the reviews it wrote' })
  @ApiNoContentResponse()
  @ApiNotFoundResponse()
  async remove(@Param() { id }: ById): Promise<void> {
    found(await this.users.remove(id), 'user', id);
  }
}
