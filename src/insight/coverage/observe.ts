/** Observes reads, writes and questions while coverage is measured. */
import { type OpenKnexBuilder, singlePartsOf } from '../../database/knex-internals.js'
import { policyEnforcer } from '../../enforce/enforcer.js'
import { policyObserver } from '../../enforce/policy-observer.js'
import { authorityFor } from '../../policy/context.js'
import type { QueryHandle } from '../../query/policy-enforcer.js'
import type { CoverageCollector } from './collector.js'
import { examineQuestion, examineRows, examineWrite, rowsWith } from './examine-rows.js'
import { examineStatement } from './examine-statement.js'
import { examine, type Subject } from './subject.js'

/** Starts to count the outcomes of leaves. Replaces functions of the engine, which are unchanged otherwise. @returns a function that restores them */
export function observePolicies(collector: CoverageCollector): () => void {
  const { restrict, beforeWrite, afterWrite } = policyEnforcer
  const { asked } = policyObserver

  policyEnforcer.restrict = (builder, statement, kind) => {
    const subject = kind === 'read' && builder.execution.session === undefined ? subjectOf(collector, builder, kind) : null
    const rows = subject && (statement.clone() as OpenKnexBuilder)
    restrict(builder, statement, kind)
    if (subject && rows)
      beforeRunning(statement, () => {
        // The table is added to the statement after its conditions.
        singlePartsOf(rows).table = singlePartsOf(statement).table
        return examineStatement(collector, subject, builder.ref, rows)
      })
  }

  policyEnforcer.beforeWrite = (builder, write) => {
    const action = builder.execution.action ?? (write.kind === 'insert' ? 'create' : write.kind)
    const subject = builder.execution.session === undefined ? subjectOf(collector, builder, action) : null
    if (!subject) return beforeWrite(builder, write)
    return examineWrite(collector, subject, builder, write).then(() => beforeWrite(builder, write))
  }

  policyEnforcer.afterWrite = (builder, write, result) => {
    const { session, action = write.kind } = builder.execution
    const ids = session?.kind === 'write' && action === 'update' ? session.recheck : null
    const subject = ids && subjectOf(collector, builder, 'update.to')
    if (!subject) return afterWrite(builder, write, result)
    const examined = examine(collector, async () => await examineRows(collector, subject, await rowsWith(builder, ids)))
    return examined.then(() => afterWrite(builder, write, result))
  }

  policyObserver.asked = (question) => examineQuestion(collector, question)

  return () => {
    Object.assign(policyEnforcer, { restrict, beforeWrite, afterWrite })
    policyObserver.asked = asked
  }
}

function subjectOf(collector: CoverageCollector, { cls, db, schema }: QueryHandle, action: string): Subject | null {
  const authority = authorityFor(cls)
  return authority === 'free' || !collector.has(cls) ? null : { cls, action, actor: authority, db, schema }
}

// A statement that is a part of another one is never awaited. The statement itself gets another then(), which calls that of the prototype.
function beforeRunning(statement: OpenKnexBuilder, examine: () => Promise<void>): void {
  const prototype = Object.getPrototypeOf(statement) as Pick<OpenKnexBuilder, 'then'>
  const waiting: OpenKnexBuilder['then'] = (onFulfilled, onRejected) =>
    examine().then(() => prototype.then.call(statement, onFulfilled, onRejected) as never)
  const between: object = Object.create(prototype)
  Object.defineProperty(between, 'then', { value: waiting })
  Object.setPrototypeOf(statement, between)
}
