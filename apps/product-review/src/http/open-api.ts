import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { cleanupOpenApiDoc } from 'nestjs-zod';

/** The OpenAPI document of all that the application serves, for `SwaggerModule.setup('docs', app, …)`. */
export function openApi(app: INestApplication, title: string, version: string): OpenAPIObject {
  const about = new DocumentBuilder().setTitle(title).setVersion(version).build();
  return cleanupOpenApiDoc(SwaggerModule.createDocument(app, about));
}
