'use strict';
// Runs the SDK wechat-api on the account at WECHAT_BASE_URL, and prints the results as JSON.

const { promisify } = require('util');
const API = require('wechat-api');

const base = process.env.WECHAT_BASE_URL;
const api = new API(process.env.WECHAT_APPID, process.env.WECHAT_SECRET);
api.endpoint = base; // the only setting for the simulator; setEndpoint would prepend https://

// The SDK has no calls for the blacklist; patch adds them.
API.patch('blacklist', base + '/cgi-bin/tags/members/getblacklist');
API.patch('block', base + '/cgi-bin/tags/members/batchblacklist');
API.patch('unblock', base + '/cgi-bin/tags/members/batchunblacklist');

const call = (method, ...args) => promisify(api[method]).apply(api, args);

// pages reads a list up to the empty page.
async function pages(next) {
  const all = [];
  for (let page = await next(''); page.count > 0; page = await next(page.next_openid)) {
    all.push(page.data.openid);
  }
  return all;
}

async function main() {
  const out = {};
  out.fans = await pages((from) => call('getFollowers', from));
  const fans = out.fans.flat();

  await call('updateRemark', fans[0], '老客户/朋友 & "A"');
  out.profile = await call('getUser', { openid: fans[0], lang: 'zh_CN' });
  out.profiles = (await call('batchGetUsers', fans.slice(0, 100))).user_info_list;

  out.created = (await call('createTag', '会员')).tag;
  await call('editTag', out.created.id, '金牌会员');
  await call('membersBatchtagging', out.created.id, fans.slice(0, 15));
  await call('membersBatchuntagging', out.created.id, fans.slice(0, 3));
  out.members = await pages((from) => call('getTagUsers', out.created.id, from));
  out.tagIDs = (await call('getUserTags', fans[3])).tagid_list;
  out.tags = (await call('getTags')).tags;
  const temporary = (await call('createTag', '临时')).tag;
  await call('deleteTag', temporary.id);

  await call('block', { openid_list: fans.slice(0, 2) });
  await call('unblock', { openid_list: fans.slice(0, 1) });
  out.blacklist = (await call('blacklist', { begin_openid: '' })).data.openid;

  out.rejected = await call('getUser', 'not-an-openid').then(() => null, toResult);

  if (process.env.EXPIRE_URL) {
    await fetch(process.env.EXPIRE_URL); // revokes the token; the SDK makes two attempts with it
    out.expired = await call('getUser', fans[0]).then(() => null, toResult);
    await call('saveToken', null); // makes the SDK fetch a new one
    out.refreshed = (await call('getUser', fans[0])).openid;
  }
  return out;
}

const toResult = (err) => ({ code: err.code, message: err.message });

main().then((out) => console.log(JSON.stringify(out)), (err) => {
  console.error(err.name, err.code, err.message);
  process.exitCode = 1;
});
