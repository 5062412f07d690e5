// The four queues. Which queue a message came by decides what is believed of it, so each source may send to its own only.

@description('Name of the namespace.')
@minLength(6)
@maxLength(50)
param name string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Tier.')
@allowed([
  'Basic'
  'Standard'
])
param tier string

@description('Whether connection strings are allowed, and one exists that may send to `markers`.')
param azureDevOpsSendsMarkers bool

@description('Principal of the identity that receives, and sends follow-ups and what the webhook got.')
param readerPrincipalId string

@description('Principal of the identity by which Event Grid sends.')
param deliveryPrincipalId string

@description('Workspace for the diagnostic log.')
param workspaceId string

// Basic allows at most 14 days. What nobody received by then is a dead letter, which the watchdog tells.
var timeToLive = 'P14D'

// The host gives a failed message back at once; backout schedules its own back-off and parks what it cannot read.
var maxDeliveryCount = 10

// The longest there is. The host renews it, and a handler that was killed holds a message no longer than this.
var lockDuration = 'PT5M'

resource bus 'Microsoft.ServiceBus/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: tier
    tier: tier
  }
  properties: {
    disableLocalAuth: !azureDevOpsSendsMarkers
    minimumTlsVersion: '1.2'
    // Network rules exist in Premium only.
    publicNetworkAccess: 'Enabled'
  }
}

resource alerts 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: bus
  name: 'alerts'
  properties: {
    maxDeliveryCount: maxDeliveryCount
    lockDuration: lockDuration
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
  }
}

resource deployments 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: bus
  name: 'deployments'
  properties: {
    maxDeliveryCount: maxDeliveryCount
    lockDuration: lockDuration
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
    // Event Grid repeats a delivery with the same message id for up to a day. Not in Basic, where a duplicate costs one more
    // execution; in Standard it cannot be changed after the queue exists. The other queues must not have it: backout sends the
    // same bytes again on purpose.
    requiresDuplicateDetection: tier == 'Standard'
    duplicateDetectionHistoryTimeWindow: tier == 'Standard' ? 'P1D' : null
  }
}

resource markers 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: bus
  name: 'markers'
  properties: {
    maxDeliveryCount: maxDeliveryCount
    lockDuration: lockDuration
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
  }
}

resource followups 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: bus
  name: 'followups'
  properties: {
    maxDeliveryCount: maxDeliveryCount
    lockDuration: lockDuration
    defaultMessageTimeToLive: timeToLive
    deadLetteringOnMessageExpiration: true
  }
}

// Azure DevOps service hooks know connection strings only. Nothing prints this one: docs/deploy.md has the command.
resource azureDevOps 'Microsoft.ServiceBus/namespaces/queues/authorizationRules@2024-01-01' = if (azureDevOpsSendsMarkers) {
  parent: markers
  name: 'azure-devops-sends'
  properties: {
    rights: [
      'Send'
    ]
  }
}

var dataReceiver = '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
var dataSender = '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'

resource receivesAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: alerts
  name: guid(alerts.id, readerPrincipalId, dataReceiver)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataReceiver)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource receivesDeployments 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deployments
  name: guid(deployments.id, readerPrincipalId, dataReceiver)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataReceiver)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource receivesMarkers 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: markers
  name: guid(markers.id, readerPrincipalId, dataReceiver)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataReceiver)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource receivesFollowUps 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: followups
  name: guid(followups.id, readerPrincipalId, dataReceiver)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataReceiver)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// The webhook puts alerts and markers on their queues; `dead-letters replay` and a store that is down put a message back on its
// own. So the reading identity sends to all four.
resource sendsAlerts 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: alerts
  name: guid(alerts.id, readerPrincipalId, dataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataSender)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource sendsDeployments 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deployments
  name: guid(deployments.id, readerPrincipalId, dataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataSender)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource sendsMarkers 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: markers
  name: guid(markers.id, readerPrincipalId, dataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataSender)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource sendsFollowUps 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: followups
  name: guid(followups.id, readerPrincipalId, dataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataSender)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

resource eventGridSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: deployments
  name: guid(deployments.id, deliveryPrincipalId, dataSender)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataSender)
    principalId: deliveryPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Who changed the namespace and its queues.
// A preview, since the one stable version (2016-09-01) has a single setting a resource, which it would overwrite.
resource operations 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: bus
  name: 'operations'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'OperationalLogs'
        enabled: true
      }
    ]
  }
}

// With its port and scheme taken off: `https://NAME.servicebus.windows.net:443/`.
output hostName string = split(split(bus.properties.serviceBusEndpoint, '/')[2], ':')[0]
output id string = bus.id
output deploymentsQueueId string = deployments.id
