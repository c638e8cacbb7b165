import { expect } from 'chai'
import { Model } from 'objection'
import {
  ActiveRecordMixin,
  BaseModel,
  BasePermsModel,
  column,
  HasUserMixin,
  ProfileMixin,
  SoftDeleteMixin,
  TimestampMixin,
  User,
  UserOwnershipMixin,
} from '../../src/index.js'
import { definitionOf } from '../../src/schema/definition/definition.js'

const tableOf = (cls: object): string => (cls as { getTableName(): string }).getTableName()

describe('The table of a model', () => {
  it('is the class name in snake_case', () => {
    class HTMLPage extends BaseModel.withColumns({ title: column.string() }) {}
    class UserDocument2 extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
    expect([HTMLPage, UserDocument2].map(tableOf)).to.deep.equal(['html_page', 'user_document2'])
    expect(HTMLPage.tableName).to.equal('html_page')
  })

  it('is a separate table when a subclass adds columns', () => {
    class Employee extends User.withColumns({ department: column.string() }) {}
    expect(tableOf(Employee)).to.equal('employee')
    expect(tableOf(User)).to.equal('user')
  })

  it('is the table of the base class when a subclass adds no columns', () => {
    class PublicUser extends User {
      static override publicRegistration = true
    }
    class Stranger extends PublicUser {}
    expect([PublicUser, Stranger].map(tableOf)).to.deep.equal(['user', 'user'])
  })

  it('is a separate table when a mixin adds the columns', () => {
    class Member extends ProfileMixin(User) {}
    class Guest extends TimestampMixin(User) {}
    class Leaver extends SoftDeleteMixin(User) {}
    expect([Member, Guest, Leaver].map(tableOf)).to.deep.equal(['member', 'guest', 'leaver'])
    class PublicMember extends Member {}
    expect(tableOf(PublicMember)).to.equal('member')
  })

  it('is shared along several generations of subclasses', () => {
    class Employee extends ProfileMixin(TimestampMixin(User)).withColumns({ salary: column.decimal(10, 2).nullable() }) {}
    class Manager extends Employee.withColumns({ level: column.integer().default(0) }) {}
    class Boss extends Manager {}
    expect([Employee, Manager, Boss].map(tableOf)).to.deep.equal(['employee', 'manager', 'manager'])
  })

  it('is static tableName, also for subclasses that share the table', () => {
    class Person extends User.withColumns({ nick: column.string() }) {
      static override tableName = 'people'
    }
    class Sharing extends Person {}
    class Adding extends Person.withColumns({ more: column.string() }) {}
    class Renamed extends Person {
      static override tableName = 'others'
    }
    expect([Person, Sharing, Adding, Renamed].map(tableOf)).to.deep.equal(['people', 'people', 'adding', 'others'])
  })

  it('is the value assigned to tableName, as compilers without class fields write it', () => {
    class Late extends BaseModel.withColumns({ a: column.string() }) {}
    ;(Late as { tableName: string }).tableName = 'late_ones'
    expect(tableOf(Late)).to.equal('late_ones')
    expect(tableOf(BaseModel.withColumns({ a: column.string() }))).not.to.equal('late_ones')
  })

  it('is the table of the base class when a subclass only redeclares a column', () => {
    class Item extends BaseModel.withColumns({ label: column.string() }) {}
    class Longer extends Item.withColumns({ label: column.string({ maxLength: 1000 }) }) {}
    expect(tableOf(Longer)).to.equal('item')
    expect(definitionOf(Longer).specs['label']?.maxLength).to.equal(1000)
    expect(definitionOf(Item).specs['label']?.maxLength).to.equal(255)
  })

  it('is not the table of the application’s abstract base class', () => {
    abstract class AppModel extends ActiveRecordMixin(Model) {}
    class Thing extends AppModel {}
    class Other extends AppModel {}
    expect([Thing, Other].map(tableOf)).to.deep.equal(['thing', 'other'])
    abstract class AppBase extends BasePermsModel {}
    class Note extends AppBase.withColumns({ text: column.text() }) {}
    class Empty extends AppBase {}
    expect([Note, Empty].map(tableOf)).to.deep.equal(['note', 'empty'])
  })

  it('is not the table of an abstract base class that declares columns for all subclasses', () => {
    abstract class Tracked extends BaseModel.withColumns({ trackedBy: column.string() }) {
      static override tableName = ''
    }
    class Parcel extends Tracked.withColumns({ weight: column.float() }) {}
    expect(tableOf(Parcel)).to.equal('parcel')
  })
})
