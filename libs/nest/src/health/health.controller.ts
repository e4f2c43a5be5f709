import { Controller, Get, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, HealthIndicatorService } from '@nestjs/terminus';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';

@ApiTags('health')
@UseFilters(ProblemFilter)
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly node: MeshNode,
  ) {}

  @Get('live')
  @ApiOperation({ summary: 'The process answers' })
  live() {
    return this.health.check([]);
  }

  @Get('ready')
  @ApiOperation({ summary: 'The database is migrated, its tables are tracked, and peers are listened to' })
  ready() {
    return this.health.check([() => this.mesh()]);
  }

  private async mesh() {
    const indicator = this.indicators.check('mesh');
    if (!this.node.configuration.enabled) return indicator.up({ enabled: false });
    const { leader } = this.node;
    if (leader !== null) return indicator.up({ role: 'standing by', leader: leader.url });
    try {
      return indicator.up(await this.node.running.store.health());
    } catch (error) {
      return indicator.down(error instanceof Error ? error.message : String(error));
    }
  }
}
