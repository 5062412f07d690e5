// The parameters of one installation. azd fills the environment variables; with plain `az`, set them or write the values here.

using './main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'prod')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')

// What the policy file (backout.yaml) names as targets. Empty: backout is installed, watches nothing, and has no right outside of
// its own resource group. `mayAct: false` lets it read and say what it would do.
param targets = [
  // {
  //   platform: 'app-service'
  //   id: '/subscriptions/SUBSCRIPTION/resourceGroups/shop/providers/Microsoft.Web/sites/checkout'
  //   mayAct: false
  // }
  // {
  //   platform: 'container-app'
  //   id: '/subscriptions/SUBSCRIPTION/resourceGroups/shop/providers/Microsoft.App/containerApps/search'
  //   joins: ['/subscriptions/SUBSCRIPTION/resourceGroups/shop/providers/Microsoft.App/managedEnvironments/shop']
  //   mayAct: true
  // }
]

// Application Insights components and workspaces that the policy names as `evidence`.
param evidenceIds = []

// What the policy names under `alerts`, where it lies in other subscriptions than targets and evidence.
param alertResourceIds = []

// Ceiling over every service of the policy: 'observe', 'propose' or 'act'.
param mode = 'observe'

// Who is told when backout itself is not well; empty: the owners of the subscription.
param operatorEmails = []

// Set by the hook `postdeploy`, or by hand after the first deployment of the code.
param codeIsDeployed = bool(readEnvironmentVariable('BACKOUT_CODE_IS_DEPLOYED', 'false'))

// Set by `infra/hooks/secure-webhook.sh`.
param webhookClientId = readEnvironmentVariable('BACKOUT_WEBHOOK_CLIENT_ID', '')
param webhookObjectId = readEnvironmentVariable('BACKOUT_WEBHOOK_OBJECT_ID', '')
