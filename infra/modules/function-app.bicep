// The function app on Flex Consumption: a custom handler, two identities, no keys.

@description('Name of the function app.')
param name string

@description('Short name of the installation.')
param environmentName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Memory of an instance, in MB.')
param instanceMemoryMB int

@description('Ceiling of the scale-out.')
param maximumInstanceCount int

@description('Identity that runs the host and reads.')
param readerId string

@description('Its client id.')
param readerClientId string

@description('Identity that acts.')
param actorId string

@description('Its client id.')
param actorClientId string

@description('Application Insights component of this resource group.')
param applicationInsightsName string

@description('Storage account of the host.')
param hostStorageName string

@description('Container that holds the package.')
param packageContainerUrl string

@description('Container that holds the state.')
param stateContainerUrl string

@description('Host name of the Service Bus namespace.')
param serviceBusHostName string

@description('Ceiling over every service\'s mode.')
param mode string

@description('Path or URL of the policy file.')
param policy string

@description('Settings that the policy names.')
@secure()
param policySettings object

@description('Client id of the secure webhook\'s application, or empty.')
param webhookClientId string

@description('Client id of the approvers\' application, or empty.')
param approverClientId string

@description('Signs approval links.')
@secure()
param approvalKey string

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  // checkov:skip=CKV_AZURE_225:Flex Consumption says so on the app, not on the plan, and bills always-ready instances for it
  name: 'plan-backout-${environmentName}'
  location: location
  tags: tags
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  kind: 'functionapp'
  properties: {
    reserved: true
  }
}

resource functionApp 'Microsoft.Web/sites@2024-11-01' = {
  // checkov:skip=CKV_AZURE_17:callers are Azure Monitor and browsers, which have no client certificate
  // checkov:skip=CKV_AZURE_212:it scales to zero on purpose; nothing is lost, since messages wait in the queues
  // checkov:skip=CKV_AZURE_213:Flex Consumption has no health check of App Service
  // checkov:skip=CKV_AZURE_222:action groups and approvers come from the internet
  name: name
  location: location
  // azd finds the app of the service `backout` by this tag.
  tags: union(tags, { 'azd-service-name': 'backout' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${readerId}': {}
      '${actorId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: readerId
          }
        }
      }
      runtime: {
        // The catalogue of Flex Consumption has one version of `custom`.
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
      }
    }
  }
}

// Deploying takes a token, never a user name and password.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: functionApp
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noDeploymentPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: functionApp
  name: 'scm'
  properties: {
    allow: false
  }
}

var clouds = {
  AzureCloud: 'public'
  AzureUSGovernment: 'usgovernment'
  AzureChinaCloud: 'china'
}

// What the Functions host itself reads. The two of Application Insights backout reads as well: its traces and metrics go there, with
// a token of the same identity.
var hostSettings = {
  AzureWebJobsStorage__accountName: hostStorageName
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: readerClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: applicationInsights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${readerClientId};Authorization=AAD'
}

// Every setting of backout is here, or named as one that is not set in Azure:
//   BACKOUT_TIME_SCALE                           the demo and tests only, refused against the real resource manager
//   BACKOUT_ARM_ENDPOINT, BACKOUT_BUS_ENDPOINT,  for a private link or another resource manager: name them in the parameter
//   BACKOUT_LOGS_ENDPOINT, BACKOUT_LOGIN_ENDPOINT  `policySettings`, which is added to these
//   BACKOUT_WEBHOOK_CALLER                       the action groups of other clouds than the public one; in `policySettings`
//   BACKOUT_GITHUB_WEBHOOK_SECRET,               references to Key Vault secrets, in `policySettings`, where GitHub, Flux or others post
//   BACKOUT_FLUX_WEBHOOK_SECRET,
//   BACKOUT_CDEVENTS_WEBHOOK_SECRET
//   OTEL_SDK_DISABLED,                           to export nothing, or to a collector instead of Application Insights; in
//   OTEL_EXPORTER_OTLP_ENDPOINT,                 `policySettings`
//   OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
//   OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
//   OTEL_EXPORTER_OTLP_HEADERS
//   ServiceBus                                   a connection string, where there is no managed identity
var backoutSettings = {
  BACKOUT_POLICY: policy
  BACKOUT_MODE: mode
  BACKOUT_STORE: stateContainerUrl
  BACKOUT_BUS: 'ServiceBus'
  ServiceBus__fullyQualifiedNamespace: serviceBusHostName
  ServiceBus__credential: 'managedidentity'
  ServiceBus__clientId: readerClientId
  AZURE_CLIENT_ID: readerClientId
  BACKOUT_ACTOR_CLIENT_ID: actorClientId
  BACKOUT_APPROVER_AUTH: 'easyauth'
  BACKOUT_CLOUD: clouds[environment().name]
  BACKOUT_APPROVAL_KEY: approvalKey
  BACKOUT_PUBLIC_URL: 'https://${functionApp.properties.defaultHostName}'
}

// A token of version 2 carries the client id as its audience.
var secureWebhookSettings = {
  BACKOUT_WEBHOOK_TENANT: tenant().tenantId
  BACKOUT_WEBHOOK_AUDIENCE: webhookClientId
}
var webhookSettings = empty(webhookClientId) ? {} : secureWebhookSettings

resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  // checkov:skip=CKV_AZURE_13:this is a list of settings, not the site
  // checkov:skip=CKV_AZURE_63:not on Flex Consumption; the host logs to Application Insights
  // checkov:skip=CKV_AZURE_65:not on Flex Consumption
  // checkov:skip=CKV_AZURE_66:not on Flex Consumption
  // checkov:skip=CKV_AZURE_80:no .NET
  // checkov:skip=CKV_AZURE_88:no mounted files
  // checkov:skip=CKV_AZURE_222:a property of the site, see there
  parent: functionApp
  name: 'appsettings'
  properties: union(hostSettings, backoutSettings, webhookSettings, policySettings)
}

// Approvers sign in; everything else stays as anonymous as its function says, since a trigger's key or a signed link decides there.
resource signIn 'Microsoft.Web/sites/config@2024-11-01' = if (!empty(approverClientId)) {
  // checkov:skip=CKV_AZURE_13:this resource is the authentication
  // checkov:skip=CKV_AZURE_63:not on Flex Consumption; the host logs to Application Insights
  // checkov:skip=CKV_AZURE_65:not on Flex Consumption
  // checkov:skip=CKV_AZURE_66:not on Flex Consumption
  // checkov:skip=CKV_AZURE_80:no .NET
  // checkov:skip=CKV_AZURE_88:no mounted files
  // checkov:skip=CKV_AZURE_222:a property of the site, see there
  parent: functionApp
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: false
      unauthenticatedClientAction: 'AllowAnonymous'
      // The token of a secure webhook is for another application: backout judges it itself.
      excludedPaths: [
        '/api/alert-webhook'
        '/api/alert-webhook/*'
      ]
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: approverClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
  // Two writes of one site's configuration at the same time may refuse each other.
  dependsOn: [
    settings
  ]
}

output name string = functionApp.name
output url string = 'https://${functionApp.properties.defaultHostName}'
