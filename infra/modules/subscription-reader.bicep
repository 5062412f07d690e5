// One role that reads, on one subscription: fired alerts, alert rules, and the operations that we started have no narrower place.

targetScope = 'subscription'

@description('Name (GUID) of the role to read.')
param readerName string

@description('Principal of the identity that reads.')
param readerPrincipalId string

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(subscription().id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}
