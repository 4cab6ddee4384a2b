'use strict';
// Runs the SDK co-wechat-api on the account at WECHAT_BASE_URL, and prints the results as JSON.

const API = require('co-wechat-api');

const base = process.env.WECHAT_BASE_URL;
const api = new API(process.env.WECHAT_APPID, process.env.WECHAT_SECRET);
api.prefix = base + '/cgi-bin/'; // the only setting for the simulator

// The SDK has no calls for the blacklist; mixin adds them.
const post = (path, field) => async function (value) {
  const { accessToken } = await this.ensureAccessToken();
  return this.request(this.prefix + path + '?access_token=' + accessToken, {
    method: 'POST',
    data: JSON.stringify({ [field]: value }),
  });
};
API.mixin({
  blacklist: post('tags/members/getblacklist', 'begin_openid'),
  block: post('tags/members/batchblacklist', 'openid_list'),
  unblock: post('tags/members/batchunblacklist', 'openid_list'),
});

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
  out.fans = await pages((from) => api.getFollowers(from));
  const fans = out.fans.flat();

  await api.updateRemark(fans[0], '老客户/朋友 & "A"');
  out.profile = await api.getUser({ openid: fans[0], lang: 'zh_CN' });
  out.profiles = (await api.batchGetUsers(fans.slice(0, 100))).user_info_list;

  out.created = (await api.createTags('会员')).tag;
  await api.updateTag(out.created.id, '金牌会员');
  await api.batchTagging(fans.slice(0, 15), out.created.id);
  await api.batchUnTagging(fans.slice(0, 3), out.created.id);
  out.members = await pages((from) => api.getUsersFromTag(out.created.id, from));
  out.tagIDs = (await api.getIdList(fans[3])).tagid_list;
  out.tags = (await api.getTags()).tags;
  const temporary = (await api.createTags('临时')).tag;
  await api.deleteTag(temporary.id);

  await api.block(fans.slice(0, 2));
  await api.unblock(fans.slice(0, 1));
  out.blacklist = (await api.blacklist('')).data.openid;

  out.rejected = await api.getUser('not-an-openid').then(() => null, toResult);

  if (process.env.EXPIRE_URL) {
    await fetch(process.env.EXPIRE_URL); // revokes the token; the SDK fetches a new one
    out.refreshed = (await api.getUser(fans[0])).openid;
  }
  return out;
}

const toResult = (err) => ({ code: err.code, message: err.message });

main().then((out) => console.log(JSON.stringify(out)), (err) => {
  console.error(err.name, err.code, err.message);
  process.exitCode = 1;
});
