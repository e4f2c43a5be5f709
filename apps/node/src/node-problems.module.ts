import { Module } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { ProblemFilter } from '@pgmesh/nest';

/** Problem documents for whatever no controller answers: unknown paths, bodies that cannot be parsed. */
@Module({ providers: [{ provide: APP_FILTER, useClass: ProblemFilter }] })
export class NodeProblemsModule {}
