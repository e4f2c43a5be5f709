import { Controller, Get, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { ProblemFilter } from '../http/problem.filter';
import { countMembers } from '../node/members-view';
import { MeshNode } from '../node/mesh-node';

@ApiTags('mesh')
@UseFilters(ProblemFilter)
@Controller('p2p/status')
export class StatusController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({ summary: 'This node, its tables, and how far it is with each peer' })
  async status() {
    const { store, mesh, bootstrap } = this.node.running;
    const status = mesh.status();
    const parked = await store.parked.count();
    const tombstones = await store.tombstones();
    return {
      ...status,
      conflicts_resolved: await store.conflictsResolved(),
      conflicts_open: await store.conflicts.countOpen(),
      parked: Object.values(parked).reduce((sum, count) => sum + count, 0),
      parked_tables: parked,
      tombstones,
      tables_synced: status.tables.length,
      bootstrap: bootstrap(),
      members: await countMembers(store, mesh),
    };
  }
}
