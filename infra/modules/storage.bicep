// Two accounts, shared keys off in both: the Functions host owns the blobs of its account, and must not own the state.

@description('Account of the host and the package.')
@minLength(3)
@maxLength(24)
param hostStorageName string

@description('Account of the state.')
@minLength(3)
@maxLength(24)
param stateStorageName string

@description('Redundancy of the state.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
])
param stateRedundancy string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Principal of the identity that runs the host and keeps the state.')
param readerPrincipalId string

@description('Workspace for the diagnostic log.')
param workspaceId string

var packageContainerName = 'package'
var stateContainerName = 'backout'

resource hostStorage 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35:Flex Consumption without a virtual network comes from addresses that are not known before; a token decides
  // checkov:skip=CKV_AZURE_206:a package and locks, made again by the next deployment
  // checkov:skip=CKV_AZURE_43:the name is a parameter, and its length is limited there
  name: hostStorageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    // Flex Consumption without a virtual network reaches the account from addresses that are not known before.
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

resource hostBlobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: hostStorage
  name: 'default'
}

resource packageContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: hostBlobs
  name: packageContainerName
  properties: {
    publicAccess: 'None'
  }
}

resource stateStorage 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  // checkov:skip=CKV_AZURE_35:Flex Consumption without a virtual network comes from addresses that are not known before; a token decides
  // checkov:skip=CKV_AZURE_206:the redundancy is a parameter; zones are not in every region
  // checkov:skip=CKV_AZURE_43:the name is a parameter, and its length is limited there
  name: stateStorageName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: stateRedundancy
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: 'Allow'
    }
  }
}

resource stateBlobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: stateStorage
  name: 'default'
  properties: {
    // Claims are never deleted by backout: who deletes one by mistake has a week to bring it back.
    deleteRetentionPolicy: {
      enabled: true
      days: 7
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource stateContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: stateBlobs
  name: stateContainerName
  properties: {
    publicAccess: 'None'
  }
}

// Storage Blob Data Owner: what the Functions host asks for on its own account (locks, keys, the package).
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'

resource hostOwnsItsBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hostStorage
  name: guid(hostStorage.id, readerPrincipalId, blobDataOwner)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Storage Blob Data Contributor, on the one container.
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource keepsState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stateContainer
  name: guid(stateContainer.id, readerPrincipalId, blobDataContributor)
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
    principalId: readerPrincipalId
    principalType: 'ServicePrincipal'
  }
}

// Who deleted state, and when. Writes are not logged: backout's own receipts tell of them.
// A preview, since the one stable version (2016-09-01) has a single setting a resource, which it would overwrite.
resource deletions 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: stateBlobs
  name: 'deletions'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

output hostStorageName string = hostStorage.name
output packageContainerUrl string = '${hostStorage.properties.primaryEndpoints.blob}${packageContainer.name}'
output stateContainerUrl string = '${stateStorage.properties.primaryEndpoints.blob}${stateContainer.name}'
