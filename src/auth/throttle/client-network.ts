import { isIP } from 'node:net'

/**
 * Returns the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address, the smallest network that a
 * subscriber gets. An IPv4-mapped IPv6 address counts as IPv4. Text that is not an address is returned unchanged.
 *
 * @example clientNetwork('2001:db8:1:2:3:4:5:6') // '2001:db8:1:2::/64'
 */
export function clientNetwork(address: string): string {
  const bare = (address.split('%')[0] ?? address).toLowerCase()
  if (isIP(bare) !== 6) return bare
  const groups = expand(bare)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.')
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

/** Returns the eight groups of a valid IPv6 address. */
function expand(address: string): number[] {
  const embedded = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const text = embedded ? `${embedded[1]}${pair(embedded[2], embedded[3])}:${pair(embedded[4], embedded[5])}` : address
  const [head = '', tail] = text.split('::')
  const read = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))
  if (tail === undefined) return read(head)
  const [before, after] = [read(head), read(tail)]
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
}

function pair(high: string | undefined, low: string | undefined): string {
  return (Number(high) * 256 + Number(low)).toString(16)
}
