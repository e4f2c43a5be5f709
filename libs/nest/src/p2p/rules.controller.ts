import { Controller, Get, Put, UseFilters } from '@nestjs/common';
import { ApiBody, ApiOperation, ApiTags } from '@nestjs/swagger';
import { formatRules, parseRules, type Rules, rulesDigest, rulesOf, type RulesOutcome } from '@pgmesh/core';
import { Problem } from '@pgmesh/wire';
import { z } from 'zod';
import { checked, JsonBody } from '../http/json-body';
import { ProblemFilter } from '../http/problem.filter';
import { MeshNode } from '../node/mesh-node';
import { tablesNotShared } from './shared-table';

const entry = z.strictObject({
  table: z.string().max(300).nullable().optional(),
  prefix: z.string().max(10_000).nullable().optional(),
  strategy: z.string().max(100),
  resolver: z.string().max(100).nullable().optional(),
});

const change = z
  .strictObject({ rules: z.string().max(100_000).optional(), entries: z.array(entry).max(10_000).optional() })
  .refine(
    ({ rules, entries }) => (rules === undefined) !== (entries === undefined),
    'Give rules (one line) or entries, one of the two',
  );

@ApiTags('conflicts')
@UseFilters(ProblemFilter)
@Controller('p2p/rules')
export class RulesController {
  constructor(private readonly node: MeshNode) {}

  @Get()
  @ApiOperation({ summary: 'How conflicts are decided here, and where peers decide otherwise' })
  read() {
    const { store, mesh } = this.node.running;
    const { rules } = store;
    const differ = mesh.status().peers.filter(({ rules_differ }) => rules_differ.length > 0);
    return {
      rules: formatRules(rules),
      digest: rulesDigest(rules),
      entries: rules,
      resolvers: store.resolvers,
      not_shared: tablesNotShared(store.tables(), rules),
      differ: differ.map(({ node_id, url, rules_differ }) => ({ peer: node_id ?? url, differences: rules_differ })),
    };
  }

  @Put()
  @ApiOperation({
    summary: 'Decides conflicts otherwise from now on, on this node: the rows in conflict are shown anew',
  })
  @ApiBody({ schema: { example: { rules: 'last-write-wins, orders=merge-fields' } } })
  async write(@JsonBody(checked(change)) { rules, entries }: z.infer<typeof change>) {
    await this.node.running.setRules(readable(rules === undefined ? rulesOf(entries!) : parseRules(rules)));
    return this.read();
  }
}

function readable(outcome: RulesOutcome): Rules {
  if (outcome.ok) return outcome.rules;
  throw new Problem('invalid_rules', `${outcome.problems.join(' ')} Nothing was changed.`, {
    problems: outcome.problems,
  });
}
