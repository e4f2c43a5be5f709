import { Controller, Get, HttpCode, Param, Post, UseFilters } from '@nestjs/common';
import { ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { type MemberView, viewMembers } from '../node/members-view';
import { MeshNode } from '../node/mesh-node';

const nothing = z.strictObject({});

@ApiTags('mesh')
@UseFilters(ProblemFilter)
@Controller('p2p/members')
export class MembersController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({
    summary:
      'Who has ever belonged to the mesh: when it was seen, how far it has come here, and whom deletions wait for',
  })
  list(): Promise<MemberView[]> {
    const { store, mesh } = this.node.running;
    return viewMembers(store, mesh);
  }

  @Post(':id/evict')
  @HttpCode(200)
  @ApiParam({ name: 'id', example: 'node3' })
  @ApiOperation({
    summary:
      'Nobody waits for a member any longer. It is not shut out: when it is heard of again, it is a member again',
  })
  async evict(@Param('id') id: string, @JsonBody(checked(nothing)) _body: object): Promise<MemberView> {
    const { store, mesh } = this.node.running;
    await mesh.membership.evict(id);
    return (await viewMembers(store, mesh)).find(({ node_id }) => node_id === id)!;
  }
}
