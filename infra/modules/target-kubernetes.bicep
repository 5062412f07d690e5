// Rights on one cluster. Bicep knows no namespace of a cluster as a scope; docs/permissions.md has the command that narrows it.

@description('The cluster.')
param clusterName string

@description('Whether backout may act here; otherwise the acting identity gets nothing.')
param mayAct bool

@description('Whether the cluster is reached by commands.')
param runsCommands bool

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Name of the role to read by commands.')
param commandReaderName string

@description('Name of the role to act by commands.')
param commandActorName string

@description('Principal of the identity that reads.')
param readerPrincipalId string

@description('Principal of the identity that acts.')
param actorPrincipalId string

resource cluster 'Microsoft.ContainerService/managedClusters@2025-05-01' existing = {
  name: clusterName
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: cluster
  name: guid(cluster.id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  scope: cluster
  name: guid(cluster.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource readsByCommands 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (runsCommands) {
  scope: cluster
  name: guid(cluster.id, readerPrincipalId, commandReaderName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', commandReaderName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource actsByCommands 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct && runsCommands) {
  scope: cluster
  name: guid(cluster.id, actorPrincipalId, commandActorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', commandActorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
