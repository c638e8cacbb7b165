import { Critter, UserDocument } from './models.js'

/** What admins see at /reports. Every query runs as the caller: nothing here asks for permission. */
export async function zooReport() {
  return {
    documents: await UserDocument.query().resultSize(),
    critters: await Critter.query().resultSize(),
    adoptable: await Critter.query().where({ isAdoptable: true }).resultSize(),
  }
}
