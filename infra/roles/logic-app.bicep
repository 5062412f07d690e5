// What backout asks of Logic Apps (Consumption), action by action. A test holds these lists against the code.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Name of the role to read an API connection.')
param connectionReaderName string

@description('Name of the role to join an API connection.')
param connectionActorName string

@description('Whether some target may be acted upon. Otherwise no role to act exists at all.')
param mayAct bool

var readingActions = [
  'Microsoft.Logic/workflows/read' // the workflow that runs
  'Microsoft.Logic/workflows/versions/read' // the earlier versions
  'Microsoft.Logic/workflows/runs/read' // which version succeeded
  'Microsoft.Logic/workflows/triggers/read' // whether the triggers are well after a save
  'Microsoft.Authorization/locks/read' // a `ReadOnly` lock refuses every change
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

var actingActions = [
  'Microsoft.Logic/workflows/write' // saves the good version
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

var connectionReadingActions = [
  'Microsoft.Web/connections/read' // whether a connection that the good version names is still there
]

var connectionActingActions = [
  'Microsoft.Web/connections/join/action' // asked of whoever saves a workflow that uses the connection
]

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: readerName
  properties: {
    roleName: 'backout ${environmentName} logic-app reader (${take(readerName, 8)})'
    description: 'Reads a workflow, its versions, runs and triggers.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: readingActions
      }
    ]
  }
}

resource actor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: actorName
  properties: {
    roleName: 'backout ${environmentName} logic-app actor (${take(actorName, 8)})'
    description: 'Saves a workflow.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: actingActions
      }
    ]
  }
}

resource connectionReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: connectionReaderName
  properties: {
    roleName: 'backout ${environmentName} logic-app connection reader (${take(connectionReaderName, 8)})'
    description: 'Reads an API connection.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: connectionReadingActions
      }
    ]
  }
}

resource connectionActor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: connectionActorName
  properties: {
    roleName: 'backout ${environmentName} logic-app connection actor (${take(connectionActorName, 8)})'
    description: 'Joins an API connection.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: connectionActingActions
      }
    ]
  }
}
