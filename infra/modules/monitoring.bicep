// Where the function app's own logs go.

@description('Short name of the installation.')
param environmentName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Id of a workspace to use; empty creates one.')
param existingWorkspaceId string

@description('Principal of the identity that runs the host.')
param readerPrincipalId string

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = if (empty(existingWorkspaceId)) {
  name: 'log-backout-${environmentName}'
  location: location
  tags: tags
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    // The days that cost nothing.
    retentionInDays: 30
    workspaceCapping: {
      // A handler that logs in a loop must not cost more than this a day, in GB.
      dailyQuotaGb: 1
    }
    features: {
      disableLocalAuth: true
    }
  }
}

var workspaceId = empty(existingWorkspaceId) ? workspace.id : existingWorkspaceId

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-backout-${environmentName}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspaceId
    // Telemetry only with a token, see the role below.
    DisableLocalAuth: true
  }
}

// Monitoring Metrics Publisher: may send telemetry to this component.
var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource publishes 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: applicationInsights
  name: guid(applicationInsights.id, readerPrincipalId, metricsPublisher)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

output workspaceId string = workspaceId
output applicationInsightsId string = applicationInsights.id
output applicationInsightsName string = applicationInsights.name
