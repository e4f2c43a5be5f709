/** What is wrong with the configuration, a sentence for each setting, with its remedy. Holds no values of secrets. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly findings: readonly string[]) {
    super(findings.join('\n'));
  }
}
