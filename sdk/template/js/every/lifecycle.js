// What a policy says of itself, and what it finds wrong with its configuration. Knows nothing of what it decides.

/** Its name and version, with the JSON Schema of its configuration; empty if it takes none. */
export function description(configurationSchema = '') {
  return { name: '{{name}}', version: '0.1.0', configurationSchema, attrs: [] };
}

/** For a policy that takes no configuration. */
export function expectNothing(setup) {
  const nothing = ['', 'null', '{}'].includes(setup.configuration.trim());
  return nothing ? [] : [{ pointer: '', message: 'this policy takes no configuration: leave it out' }];
}

/** For a policy that cannot do without a column of the feed. */
export function requireColumn(setup, name) {
  const offered = setup.columns.some((column) => column.name === name);
  return offered ? [] : [{ pointer: '', message: `this host offers no column ${name}` }];
}
