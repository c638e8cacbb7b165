/** Detects withGraphJoined() that joins several rows to one row of the model, which limits and counts must respect. */
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import {
  findOperation,
  type GraphNode,
  type ObjectionBuilder,
  type Operation,
  operationsOf,
  relationOf,
  relationsOf,
} from './objection-internals.js'

/** Returns whether withGraphJoined() may join several rows to one row of the model. */
export function joinsManyRows(builder: ObjectionBuilder): boolean {
  const graph = findOperation(operationsOf(builder), isJoinedGraph)
  return graph?.expression !== undefined && hasToManyRelation(builder.modelClass(), graph.expression.node)
}

const isJoinedGraph = (operation: Operation) => operation.name === 'eager' && Boolean(operation.joiner)

function hasToManyRelation(cls: typeof Model, node: GraphNode): boolean {
  const names = node.$allRecursive ? Object.keys(relationsOf(cls)) : node.$childNames
  return names.some((name) => {
    const child = node[name] as GraphNode | undefined
    const relation = relationOf(cls, child?.$relation ?? name)
    return !relation.isOneToOne() || (child !== undefined && hasToManyRelation(relation.relatedModelClass, child))
  })
}

/** @throws ConfigurationError if a limit would count joined rows instead of rows of the model */
export function rejectLimitedGraph(builder: ObjectionBuilder): void {
  if (!joinsManyRows(builder)) return
  throw new ConfigurationError(
    `${builder.modelClass().name}: page(), range(), limit() and offset() would count the rows that withGraphJoined() joins, and cut graphs off. Use withGraphFetched().`,
  )
}
