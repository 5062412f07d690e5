// Rights on the deployments of one resource group.

@description('Whether backout may act here; otherwise the acting identity gets nothing.')
param mayAct bool

@description('GUID of the role that may write what the templates contain; empty: none.')
param templateRole string

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Principal of the identity that reads.')
param readerPrincipalId string

@description('Principal of the identity that acts.')
param actorPrincipalId string

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  name: guid(resourceGroup().id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource writesTheTemplatesResources 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct && !empty(templateRole)) {
  name: guid(resourceGroup().id, actorPrincipalId, templateRole)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', templateRole)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
