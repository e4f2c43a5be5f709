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
import { NewReview, Review, ReviewChanges, ReviewPage, ReviewQuery, ReviewReplacement } from './review';
import { ReviewsRepository } from './reviews.repository';

@Resource('reviews')
export class ReviewsController {
  constructor(private readonly reviews: ReviewsRepository) {}

  @Get()
  @ApiOperation({ summary: 'List reviews' })
  @ApiOkResponse({ type: ReviewPage })
  list(@Query() query: ReviewQuery) {
    return this.reviews.list(query);
  }

  @Post()
  @ApiOperation({ summary: 'Create a review' })
  @ApiCreatedResponse({ type: Review })
  create(@Body() review: NewReview) {
    return this.reviews.create(review);
  }

  @Get(':id')
  @ApiOperation({ summary: 'Read a review' })
  @ApiOkResponse({ type: Review })
  @ApiNotFoundResponse()
  async read(@Param() { id }: ById) {
    return found(await this.reviews.find(id), 'review', id);
  }

  @Patch(':id')
  @ApiOperation({ summary: 'Change some fields of a review' })
  @ApiOkResponse({ type: Review })
  @ApiNotFoundResponse()
  async change(@Param() { id }: ById, @Body() changes: ReviewChanges) {
    return found(await this.reviews.change(id, changes), 'review', id);
  }

  @Put(':id')
  @ApiOperation({ summary: 'Replace all fields of a review' })
  @ApiOkResponse({ type: Review })
  @ApiNotFoundResponse()
  async replace(@Param() { id }: ById, @Body() review: ReviewReplacement) {
    return found(await this.reviews.change(id, { title: null, comment: null, ...review }), 'review', id);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ summary: 'Delete a review' })
  @ApiNoContentResponse()
  @ApiNotFoundResponse()
  async remove(@Param() { id }: ById): Promise<void> {
    found(await this.reviews.remove(id), 'review', id);
  }
}
