import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { problemContentType } from '@pgmesh/wire';
import { cleanupOpenApiDoc } from 'nestjs-zod';

/** OpenAPI at /docs for people and /docs-json for programs; made when first asked for. */
export function describeApi(app: INestApplication, title: string): void {
  const outline = new DocumentBuilder().setTitle(title).addBearerAuth().build();
  SwaggerModule.setup('docs', app, () => withProblems(cleanupOpenApiDoc(SwaggerModule.createDocument(app, outline))), {
    jsonDocumentUrl: 'docs-json',
    yamlDocumentUrl: 'docs-yaml',
  });
}

const problem = {
  description:
    'What stands in the way: 400, 401, 403, 404, 409, 413, 415, 422, 429, 503. `code` is one of those in docs/protocol.md.',
  content: {
    [problemContentType]: {
      schema: {
        type: 'object',
        required: ['type', 'title', 'status', 'detail', 'code'],
        properties: {
          type: { type: 'string', example: 'urn:pgmesh:problem:not_found' },
          title: { type: 'string' },
          status: { type: 'integer' },
          detail: { type: 'string' },
          code: { type: 'string', example: 'not_found' },
        },
      },
    },
  },
};

/** All that the mesh refuses is refused in one form. An application's own routes describe their own. */
function withProblems(document: OpenAPIObject): OpenAPIObject {
  for (const [path, { get, put, post, delete: remove }] of Object.entries(document.paths)) {
    if (!path.startsWith('/p2p/')) continue;
    for (const operation of [get, put, post, remove]) if (operation) operation.responses.default = problem;
  }
  return document;
}
