// Rights on one container app.

@description('The app.')
param appName string

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

resource app 'Microsoft.App/containerApps@2024-03-01' existing = {
  name: appName
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: app
  name: guid(app.id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  scope: app
  name: guid(app.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
