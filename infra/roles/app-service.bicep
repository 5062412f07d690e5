// What backout asks of App Service, action by action. A test holds these lists against the code.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to read app settings.')
param settingsReaderName string

@description('Name of the role to swap.')
param actorName string

@description('Name of the role to write the configuration.')
param configuratorName string

@description('Whether some target may be acted upon. Otherwise no role to act exists at all.')
param mayAct bool

var readingActions = [
  'Microsoft.Web/sites/read' // the site: last swap, state, ramp-up
  'Microsoft.Web/sites/slots/read' // the same of a slot that serves
  'Microsoft.Web/sites/config/read' // `config/web` (image, traffic rules, auto-swap) and which settings are sticky
  'Microsoft.Web/sites/slots/config/read' // the same of a slot
  'Microsoft.Web/sites/deployments/read' // the active deployment, which names the build
  'Microsoft.Web/sites/slots/deployments/read' // the same of a slot
  'Microsoft.Web/sites/slotsdiffs/action' // what a swap would change besides the build; a POST that reads
  'Microsoft.Web/sites/slots/slotsdiffs/action' // the same of a slot
  'Microsoft.Web/sites/operationresults/read' // how the swap ended
  'Microsoft.Web/sites/slots/operationresults/read' // the same of a slot
  'Microsoft.Authorization/locks/read' // a `ReadOnly` lock refuses every change
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

// Only where the policy says `fingerprint: { setting: ... }`, or a package is set again: app settings often hold secrets.
var settingsReadingActions = [
  'Microsoft.Web/sites/config/list/action' // the app setting that names the build; Azure gives all of them or none
  'Microsoft.Web/sites/slots/config/list/action' // the same of a slot
]

var actingActions = [
  'Microsoft.Web/sites/slots/slotsswap/action' // the swap
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

// Only where a ramp-up may be ended, or an image or package set again: whoever may write the configuration could write all of it.
var configuringActions = [
  'Microsoft.Web/sites/config/write' // clears `rampUpRules`, sets the image, writes the app settings; Azure has no narrower right
  'Microsoft.Web/sites/slots/config/write' // the same of a slot that serves
]

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: readerName
  properties: {
    roleName: 'backout ${environmentName} app-service reader (${take(readerName, 8)})'
    description: 'Reads a site and its slots, as far as backout needs to judge and verify a swap.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: readingActions
      }
    ]
  }
}

resource settingsReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: settingsReaderName
  properties: {
    roleName: 'backout ${environmentName} app-service settings reader (${take(settingsReaderName, 8)})'
    description: 'Reads the app settings of a site and its slots.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: settingsReadingActions
      }
    ]
  }
}

resource actor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: actorName
  properties: {
    roleName: 'backout ${environmentName} app-service actor (${take(actorName, 8)})'
    description: 'Swaps slots.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: actingActions
      }
    ]
  }
}

resource configurator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: configuratorName
  properties: {
    roleName: 'backout ${environmentName} app-service configurator (${take(configuratorName, 8)})'
    description: 'Ends a gradual ramp-up.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: configuringActions
      }
    ]
  }
}
