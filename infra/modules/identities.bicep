// The identities. Reading and acting are two, so that what may be changed can be seen from role assignments alone.

@description('Short name of the installation.')
param environmentName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

// Runs the host, reads the platforms, keeps the state, uses the queues.
resource reader 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-backout-${environmentName}-reader'
  location: location
  tags: tags
}

// Sends the one mutating call of a rollback, and nothing else. Without a target that may be acted upon it has no right at all.
resource actor 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-backout-${environmentName}-actor'
  location: location
  tags: tags
}

// Belongs to Event Grid, not to the function app: sends to the queue `deployments`.
resource delivery 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: 'id-backout-${environmentName}-events'
  location: location
  tags: tags
}

output readerId string = reader.id
output readerClientId string = reader.properties.clientId
output readerPrincipalId string = reader.properties.principalId
output actorId string = actor.id
output actorClientId string = actor.properties.clientId
output actorPrincipalId string = actor.properties.principalId
output deliveryId string = delivery.id
output deliveryPrincipalId string = delivery.properties.principalId
