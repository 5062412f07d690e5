// The right to list the fired alerts of one subscription.

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
