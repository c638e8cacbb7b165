export async function register() {
  if (process.env.NEXT_RUNTIME !== 'nodejs') return
  const { prepare } = await import('./lib/notes.js')
  await prepare()
}
