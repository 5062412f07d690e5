// Rights on one API connection of workflows.

@description('The connection.')
param connectionName string

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

resource connection 'Microsoft.Web/connections@2016-06-01' existing = {
  name: connectionName
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: connection
  name: guid(connection.id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource joins 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  scope: connection
  name: guid(connection.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
