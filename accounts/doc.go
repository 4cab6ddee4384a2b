// Package accounts keeps the clients of many Official Accounts in one process: one client per account, made on demand
// from settings that a function looks up, in a database or a config.
//
//	registry, err := accounts.New(
//		func(ctx context.Context, tenant string) (accounts.Account, error) {
//			row, err := db.Account(ctx, tenant)
//			if errors.Is(err, sql.ErrNoRows) {
//				return accounts.Account{}, accounts.ErrUnknownAccount
//			}
//			return accounts.Account{AppID: row.AppID, Secret: row.Secret}, err
//		},
//		accounts.WithMaxAge(5*time.Minute), // when to look settings up again
//		accounts.WithTokenStore(store),     // such as redisstore
//	)
//	...
//	client, err := registry.Client(ctx, "tenant 7")
//	if err != nil {
//		return err
//	}
//	user, err := client.GetUserInfo(ctx, openID)
//
// Ask for the client each time it is needed; do not keep it in a struct of your own. All clients share connections, and
// the token store if there is one. Token, rate limit and quota are separate, so an account that has used up its quota
// does not slow down the others.
//
// # Keys and app IDs
//
// A key is any string: an app ID, a name, the ID of a tenant. The settings have the app ID. Keys that lead to the same
// app ID share one client, and so one token and one rate limit. If their settings differ, the ones that were looked up
// last apply to all of them.
//
// # Changed settings
//
// [Registry.Refresh] looks the settings of an account up again, and so does [Registry.Client] after [WithMaxAge]. The
// client is replaced only if they differ; otherwise it stays, with its token. [Registry.Forget] drops the client in any
// case. A client that was returned before keeps working with its old settings: calls and jobs in progress are not
// disturbed. It has nothing to close.
//
// # Memory
//
// A registry keeps at most 10,000 keys ([WithCapacity]), and a key for two hours after its last use ([WithIdle]). The
// least recently used one is dropped first. As long as a job still uses a client that was dropped, the registry returns
// that client again, so an account never has two clients with the same settings. A registry needs no Close.
package accounts
