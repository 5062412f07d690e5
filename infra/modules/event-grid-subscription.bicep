// Deployments at the scope of this subscription -> queue `deployments`. What happens inside a resource group comes by that group.
//
// Azure allows one system topic a source.

@description('Short name of the installation.')
param environmentName string

@description('Tags of every resource.')
param tags object

@description('Identity by which Event Grid sends.')
param deliveryIdentityId string

@description('The queue.')
param queueId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  // At most 50 characters; the name of an installation may have 32.
  name: 'evgt-backout-${environmentName}-sub'
  location: 'global'
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${deliveryIdentityId}': {}
    }
  }
  properties: {
    source: subscription().id
    topicType: 'Microsoft.Resources.Subscriptions'
  }
}

resource changes 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
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
        'Microsoft.Resources.ResourceWriteSuccess'
        'Microsoft.Resources.ResourceWriteFailure'
      ]
      subjectBeginsWith: '${subscription().id}/providers/Microsoft.Resources/'
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.operationName'
          values: [
            'Microsoft.Resources/deployments/write'
            'Microsoft.Resources/deploymentStacks/write'
          ]
        }
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
