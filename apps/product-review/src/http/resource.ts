import { applyDecorators, Controller, UseGuards, UsePipes } from '@nestjs/common';
import { ApiBadRequestResponse, ApiTags } from '@nestjs/swagger';
import { createZodDto, ZodValidationPipe } from 'nestjs-zod';
import { z } from 'zod';
import { JsonBodyGuard } from './json-body';

/** A controller that takes JSON, checked by the schemas of its DTOs. */
export const Resource = (path: string) =>
  applyDecorators(
    Controller(path),
    ApiTags(path),
    ApiBadRequestResponse({ description: 'The request is not valid; `errors` names each field.' }),
    UseGuards(JsonBodyGuard),
    UsePipes(ZodValidationPipe),
  );

/** `/:id` */
export class ById extends createZodDto(z.object({ id: z.guid() })) {}
