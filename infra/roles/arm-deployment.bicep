// What backout asks of deployments of the resource manager, action by action. A test holds these lists against the code.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Name of the role to read how operations stand.')
param operationReaderName string

@description('Whether some target may be acted upon. Otherwise no role to act exists at all.')
param mayAct bool

var readingActions = [
  'Microsoft.Resources/deployments/read' // the records of earlier deployments
  'Microsoft.Resources/deployments/exportTemplate/action' // the template of a record; `Reader` lacks it
  'Microsoft.Resources/deployments/operations/read' // what a deployment touched
  'Microsoft.Resources/deployments/operationstatuses/read' // how our own deployment goes
  'Microsoft.Authorization/locks/read' // a `ReadOnly` lock refuses every change
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

// Asked of whoever follows our own what-if; only where something may be sent at all.
var operationReadingActions = [
  'Microsoft.Resources/subscriptions/operationresults/read' // the result of a what-if, whose URL lies at the subscription, even for a resource group
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

// Besides these, the identity that acts needs to write each resource of the template: the target's `templateRole`.
var actingActions = [
  'Microsoft.Resources/deployments/write' // redeploys the good record
  'Microsoft.Resources/deployments/whatIf/action' // asks first what that would change
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: readerName
  properties: {
    roleName: 'backout ${environmentName} arm-deployment reader (${take(readerName, 8)})'
    description: 'Reads deployments, their templates and operations.'
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
    roleName: 'backout ${environmentName} arm-deployment actor (${take(actorName, 8)})'
    description: 'Previews and starts deployments; what they contain needs its own rights.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: actingActions
      }
    ]
  }
}

resource operationReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: operationReaderName
  properties: {
    roleName: 'backout ${environmentName} arm-deployment operation reader (${take(operationReaderName, 8)})'
    description: 'Reads the results of operations of a subscription.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: operationReadingActions
      }
    ]
  }
}
