import { BootstrapNode, RegisterFile } from '@pgmesh/discovery';
import { Problem } from '@pgmesh/wire';
import { join } from 'node:path';
import type { Configuration } from '../configuration/configuration';
import { ConfigurationError } from '../configuration/configuration-error';

/** The bootstrap node of this process, where it is one. */
export class BootstrapServing implements AsyncDisposable {
  private constructor(private readonly node: BootstrapNode | null) {}

  static readonly off = new BootstrapServing(null);

  /**
   * @param name tells its register from others in the same directory
   * @throws ConfigurationError when the register cannot be kept where it should be
   */
  static async open(
    { dataDir, bootstrapLease: lease }: Configuration,
    name: string,
    warn: (message: string) => void,
  ): Promise<BootstrapServing> {
    const path = join(dataDir, `bootstrap-${name}.json`);
    try {
      return new BootstrapServing(await BootstrapNode.open({ book: new RegisterFile(path), lease, warn }));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new ConfigurationError([
        `The register of the bootstrap node cannot be kept in ${path} (${code ?? message}). Set P2P_DATA_DIR to a directory that this ` +
          'user may write, and that outlasts a restart.',
      ]);
    }
  }

  /** @throws Problem `not_found` where this process is none */
  get introducing(): BootstrapNode {
    if (this.node === null) {
      throw new Problem('not_found', 'This node is no bootstrap node. P2P_BOOTSTRAP_SERVE=true makes it one.');
    }
    return this.node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node?.[Symbol.asyncDispose]();
  }
}
