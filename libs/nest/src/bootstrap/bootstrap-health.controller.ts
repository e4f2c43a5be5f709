import { Controller, Get, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, HealthIndicatorService } from '@nestjs/terminus';
import { ProblemFilter } from '../http/problem.filter';
import { BootstrapServing } from './serving';

/** Of a process that is a bootstrap node and nothing else. */
@ApiTags('health')
@UseFilters(ProblemFilter)
@Controller('health')
export class BootstrapHealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly serving: BootstrapServing,
  ) {}

  @Get('live')
  @ApiOperation({ summary: 'The process answers' })
  live() {
    return this.health.check([]);
  }

  @Get('ready')
  @ApiOperation({ summary: 'Nodes are introduced; `trouble` says what keeps the register from being written' })
  ready() {
    return this.health.check([
      () => {
        const { trouble } = this.serving.introducing;
        return this.indicators.check('bootstrap').up(trouble === null ? {} : { trouble });
      },
    ]);
  }
}
