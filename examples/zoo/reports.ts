import { Critter, UserDocument } from './models.js'

/** Returns the figures that admins see at /reports. Every query runs as the caller, so no permission is checked here. */
export async function zooReport() {
  return {
    documents: await UserDocument.query().resultSize(),
    critters: await Critter.query().resultSize(),
    adoptable: await Critter.query().where({ isAdoptable: true }).resultSize(),
  }
}
