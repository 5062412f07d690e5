// The topic of `event-grid-site.bicep`.

@description('Short name of the installation.')
param environmentName string

@description('The site.')
param siteName string

@description('The site\'s region: a system topic lives where its source does.')
param location string

@description('Identity by which Event Grid sends.')
param deliveryIdentityId string

@description('The queue.')
param queueId string

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: siteName
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  // At most 50 characters, and a site's name alone may have 60.
  name: 'evgt-backout-${uniqueString(site.id, environmentName)}'
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${deliveryIdentityId}': {}
    }
  }
  properties: {
    source: site.id
    topicType: 'Microsoft.Web.Sites'
  }
}

resource swaps 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'backout-${environmentName}'
  properties: {
    deliveryWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: deliveryIdentityId
      }
      destination: {
        endpointType: 'ServiceBusQueue'
        properties: {
          resourceId: queueId
        }
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Web.SlotSwapStarted'
        'Microsoft.Web.SlotSwapCompleted'
        'Microsoft.Web.SlotSwapFailed'
        'Microsoft.Web.SlotSwapWithPreviewStarted'
        'Microsoft.Web.SlotSwapWithPreviewCancelled'
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
