// The right to join the environment of container apps that may be acted upon.

@description('The environment.')
param managedEnvironmentName string

@description('Name (GUID) of the role to join it.')
param actorName string

@description('Principal of the identity that acts.')
param actorPrincipalId string

resource managedEnvironment 'Microsoft.App/managedEnvironments@2024-03-01' existing = {
  name: managedEnvironmentName
}

resource joins 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: managedEnvironment
  name: guid(managedEnvironment.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
