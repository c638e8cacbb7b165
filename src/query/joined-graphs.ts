/** Detects withGraphJoined() that joins several rows to one row of the model, which limits and counts must respect. */
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { findOperation } from './execution.js'
import type { Internals, Operation } from './write-operation.js'

interface JoinedGraph extends Operation {
  /** Set by withGraphJoined() only. */
  readonly joiner?: object
  readonly expression?: { readonly node: GraphNode }
}

interface GraphNode {
  readonly $childNames: readonly string[]
  readonly $relation: string
  readonly $allRecursive?: boolean
  readonly [child: string]: unknown
}

/** Returns whether withGraphJoined() may join several rows to one row of the model. */
export function joinsManyRows(builder: Internals): boolean {
  const graph = findOperation(builder._operations, isJoinedGraph) as JoinedGraph | null
  return graph?.expression !== undefined && hasToManyRelation(builder.modelClass(), graph.expression.node)
}

const isJoinedGraph = (operation: Operation) => operation.name === 'eager' && Boolean((operation as JoinedGraph).joiner)

function hasToManyRelation(cls: typeof Model, node: GraphNode): boolean {
  const names = node.$allRecursive ? Object.keys(cls.getRelations()) : node.$childNames
  return names.some((name) => {
    const child = node[name] as GraphNode | undefined
    const relation = cls.getRelation(child?.$relation ?? name) as unknown as { relatedModelClass: typeof Model; isOneToOne(): boolean }
    return !relation.isOneToOne() || (child !== undefined && hasToManyRelation(relation.relatedModelClass, child))
  })
}

/** @throws ConfigurationError if a limit would count joined rows instead of rows of the model */
export function rejectLimitedGraph(builder: Internals): void {
  if (!joinsManyRows(builder)) return
  throw new ConfigurationError(
    `${builder.modelClass().name}: page(), range(), limit() and offset() would count the rows that withGraphJoined() joins, and cut graphs off. Use withGraphFetched().`,
  )
}
