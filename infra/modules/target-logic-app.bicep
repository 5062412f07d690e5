// Rights on one workflow.

@description('The workflow.')
param workflowName string

@description('Whether backout may act here; otherwise the acting identity gets nothing.')
param mayAct bool

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Principal of the identity that reads.')
param readerPrincipalId string

@description('Principal of the identity that acts.')
param actorPrincipalId string

resource workflow 'Microsoft.Logic/workflows@2019-05-01' existing = {
  name: workflowName
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: workflow
  name: guid(workflow.id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  scope: workflow
  name: guid(workflow.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
