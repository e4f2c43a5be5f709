import { Controller, Delete, Get, HttpCode, Param, Post, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Problem } from '@pgmesh/wire';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';

const newPeer = z.strictObject({ url: z.string(), peer_id: z.string().optional() });

@ApiTags('mesh')
@UseFilters(ProblemFilter)
@Controller('p2p/peers')
export class PeersController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({ summary: 'The peers that are known, who found them, and how the exchange with each goes' })
  list() {
    return this.node.running.peers();
  }

  @Post()
  @HttpCode(201)
  @ApiOperation({ summary: 'Makes a peer known by hand; it is kept across restarts' })
  @ApiBody({ schema: { example: { url: 'http://127.0.0.1:8002' } } })
  async add(@JsonBody(checked(newPeer)) { url, peer_id }: z.infer<typeof newPeer>) {
    const outcome = await this.node.running.directory.add(url, peer_id);
    if (!outcome.ok) throw new Problem('invalid_peer', outcome.message, { reason: outcome.reason });
    const { id, urls, sources } = outcome.peer;
    return { peer_id: id, url: outcome.peer.url, urls, sources };
  }

  @Delete(':peer_id')
  @ApiOperation({ summary: 'Forgets a peer that was made known by hand, by its id or URL' })
  async remove(@Param('peer_id') peerId: string) {
    const outcome = await this.node.running.directory.remove(peerId);
    if (!outcome.ok) throw new Problem(outcome.reason === 'unknown' ? 'not_found' : 'invalid_peer', outcome.message);
    return { removed: outcome.removed, remains: outcome.remains };
  }
}
