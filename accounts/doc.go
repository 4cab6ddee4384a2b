// Package accounts manages the clients of many Official Accounts in one process. It creates one client for each
// account on demand, from settings that a function of yours looks up, for example in a database.
//
//	registry, err := accounts.New(
//		func(ctx context.Context, tenant string) (accounts.Account, error) {
//			row, err := db.Account(ctx, tenant)
//			if errors.Is(err, sql.ErrNoRows) {
//				return accounts.Account{}, accounts.ErrUnknownAccount
//			}
//			return accounts.Account{AppID: row.AppID, Secret: row.Secret}, err
//		},
//		accounts.WithMaxAge(5*time.Minute), // look settings up again after this time
//		accounts.WithTokenStore(store),     // for example of package redisstore
//	)
//	...
//	client, err := registry.Client(ctx, "tenant 7")
//	if err != nil {
//		return err
//	}
//	user, err := client.GetUserInfo(ctx, openID)
//
// Call [Registry.Client] each time a client is needed; do not keep the client in a struct of your own. All clients
// share connections, and the token store if there is one. Tokens, rate limits and quotas are separate, so an account
// that has used up its quota does not slow down the others.
//
// # Keys and app IDs
//
// A key is any string: an app ID, a name, the ID of a tenant. The settings contain the app ID. Keys with the same app
// ID share one client, and so one token and one rate limit. If the settings of such keys differ, those that were looked
// up last apply to all of the keys.
//
// # Changed settings
//
// [Registry.Refresh] looks the settings of an account up again, and so does [Registry.Client] after [WithMaxAge]. If
// the settings have changed, a new client replaces the old one; otherwise the client is kept with its token.
// [Registry.Forget] drops the client in any case. A client that was returned before keeps working with its old
// settings, so that calls and jobs in progress are not disturbed. It needs no Close.
//
// # Memory
//
// A registry keeps at most 10,000 keys ([WithCapacity]), and drops the least recently used one first. It drops a key
// two hours after its last use ([WithIdle]). As long as a job uses a client that was dropped, the registry returns that
// client again, so there are never two clients of an account with the same settings. A registry needs no Close.
package accounts
