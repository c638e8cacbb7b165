const { Model } = require('objection')

class Base extends Model {
  static get modelPaths() {
    return [__dirname]
  }
}

module.exports = Base
