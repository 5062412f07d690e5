// Rights on one site. Slots are its children.

@description('The site.')
param siteName string

@description('Whether backout may act here; otherwise the acting identity gets nothing.')
param mayAct bool

@description('Whether backout may write the configuration here, to end a ramp-up or to set an image or package again.')
param mayConfigure bool

@description('Whether the policy names a build by an app setting.')
param readsAppSettings bool

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to read app settings.')
param settingsReaderName string

@description('Name of the role to act.')
param actorName string

@description('Name of the role to write the configuration.')
param configuratorName string

@description('Principal of the identity that reads.')
param readerPrincipalId string

@description('Principal of the identity that acts.')
param actorPrincipalId string

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: siteName
}

resource reads 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: site
  name: guid(site.id, readerPrincipalId, readerName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', readerName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource readsSettings 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (readsAppSettings) {
  scope: site
  name: guid(site.id, readerPrincipalId, settingsReaderName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', settingsReaderName)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource acts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct) {
  scope: site
  name: guid(site.id, actorPrincipalId, actorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', actorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource configures 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (mayAct && mayConfigure) {
  scope: site
  name: guid(site.id, actorPrincipalId, configuratorName)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', configuratorName)
    principalId: actorPrincipalId
    principalType: 'ServicePrincipal'
  }
}
