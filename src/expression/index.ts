/** Conditions, condition trees and templates: everything in observers.yaml that is evaluated on an event. */
export { compileCondition, compileExpression, fires } from './compile.ts';
export { CompileError, type ValuePath } from './compile-error.ts';
export { envelopeData, eventEnvelope, plainEnvelope } from './envelope.ts';
export { unmaskAddress } from './escape.ts';
export { type Explained, explainCondition, type ReadValue, type Verdict } from './explain.ts';
export { changedColumns, rawMembers } from './json.ts';
export { toText } from './print.ts';
export { type Bound, type Fact, type Requirement, requirementsOf, type Subject } from './requirement.ts';
export { createScope } from './scope.ts';
export { compileStatement } from './statement.ts';
export { compileTemplate, isStaticTemplate } from './template.ts';
export { compileTree } from './tree.ts';
export { compileUrl, percentEncoded } from './url-template.ts';
