// What backout asks of Container Apps, action by action. A test holds these lists against the code.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Name of the role to join an environment.')
param environmentActorName string

@description('Name of the role to read how operations stand.')
param operationReaderName string

@description('Whether some target may be acted upon. Otherwise no role to act exists at all.')
param mayAct bool

var readingActions = [
  'Microsoft.App/containerApps/read' // the app: traffic, template, provisioning
  'Microsoft.App/containerApps/revisions/read' // the revisions
  'Microsoft.Authorization/locks/read' // a `ReadOnly` lock refuses every change
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

var actingActions = [
  'Microsoft.App/containerApps/write' // sends the traffic back, or puts the good template back
  'Microsoft.App/containerApps/revisions/activate/action' // wakes the good revision
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

// Asked of whoever follows our own change; only where something may be sent at all.
var operationReadingActions = [
  'Microsoft.App/locations/containerappOperationStatuses/read' // how our own change goes (`Azure-AsyncOperation`); its URL lies at the subscription and region
  'Microsoft.App/locations/containerappOperationResults/read' // the same by the other header that Azure may send (`Location`)
]

var environmentActingActions = [
  'Microsoft.App/managedEnvironments/join/action' // asked of whoever writes an app of the environment
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: readerName
  properties: {
    roleName: 'backout ${environmentName} container-app reader (${take(readerName, 8)})'
    description: 'Reads a container app and its revisions.'
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
    roleName: 'backout ${environmentName} container-app actor (${take(actorName, 8)})'
    description: 'Changes a container app, activates its revisions.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: actingActions
      }
    ]
  }
}

resource environmentActor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: environmentActorName
  properties: {
    roleName: 'backout ${environmentName} container-app environment actor (${take(environmentActorName, 8)})'
    description: 'Joins an environment.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: environmentActingActions
      }
    ]
  }
}

resource operationReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: operationReaderName
  properties: {
    roleName: 'backout ${environmentName} container-app operation reader (${take(operationReaderName, 8)})'
    description: 'Reads how changes of container apps stand.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: operationReadingActions
      }
    ]
  }
}
