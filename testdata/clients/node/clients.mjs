// Clients of npm against sdgo serve; run.sh starts the servers and says where they are.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import OpenAI, { toFile } from 'openai'
import sharp from 'sharp'
import { generateImage } from 'ai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import stableDiffusion from 'stable-diffusion-api'

const { SDGO_URL, SDGO_OPEN_URL, SDGO_KEY, SDGO_USER, SDGO_PASSWORD, SDGO_EXPECTED, SDGO_EXPECTED_FROM } = process.env
const extra = { negative_prompt: 'a tree', seed: 42, steps: 4, sampler: 'euler_a', cfg_scale: 5 }
const pixels = async data => (await sharp(data).removeAlpha().raw().toBuffer()).toString('hex')
const expected = await pixels(readFileSync(SDGO_EXPECTED))
const from = await pixels(readFileSync(SDGO_EXPECTED_FROM))
const same = async (data, picture) => assert.ok(await pixels(data) === picture, 'another picture')

async function openai () {
  const client = new OpenAI({ baseURL: SDGO_URL + '/v1', apiKey: SDGO_KEY })
  const model = (await client.models.list()).data[0].id
  const out = await client.images.generate({ prompt: 'a red apple', model, size: '64x64', ...extra })
  await same(Buffer.from(out.data[0].b64_json, 'base64'), expected)
  const types = []
  for await (const event of await client.images.generate({ prompt: 'a red apple', model, size: '64x64', stream: true, partial_images: 1, ...extra })) types.push(event.type)
  assert.deepEqual(types, ['image_generation.partial_image', 'image_generation.completed'])
  const image = await toFile(readFileSync(SDGO_EXPECTED), 'a.png', { type: 'image/png' })
  const edited = await client.images.edit({ image, prompt: 'a red apple', model, size: '64x64', ...extra, strength: 0.5 })
  await same(Buffer.from(edited.data[0].b64_json, 'base64'), from)
  await assert.rejects(client.images.generate({ prompt: 'x', size: 'many' }), OpenAI.BadRequestError)
  const patient = new OpenAI({ baseURL: SDGO_OPEN_URL + '/v1', apiKey: 'none' })
  await patient.images.generate({ prompt: 'x', size: '64x64', steps: 1 })
}

async function aiSDK () {
  const provider = createOpenAICompatible({ name: 'sdgo', baseURL: SDGO_URL + '/v1', apiKey: SDGO_KEY })
  const { image } = await generateImage({ model: provider.imageModel('x'), prompt: 'a red apple', size: '64x64', providerOptions: { sdgo: extra } })
  await same(Buffer.from(image.uint8Array), expected)
}

async function stableDiffusionAPI () {
  const Api = stableDiffusion.default ?? stableDiffusion
  const { hostname, port } = new URL(SDGO_URL)
  const api = new Api({ host: hostname, port: Number(port), protocol: 'http', defaultSampler: 'Euler a', defaultStepCount: 4 })
  api.setAuth(SDGO_USER, SDGO_PASSWORD)
  const request = { prompt: 'a red apple', negative_prompt: 'a tree', seed: 42, steps: 4, sampler_name: 'Euler a', cfg_scale: 5, width: 64, height: 64 }
  await same(await (await api.txt2img(request)).image.toBuffer(), expected)
  const img = await api.img2img({ ...request, init_images: [sharp(readFileSync(SDGO_EXPECTED))], denoising_strength: 0.5 })
  await same(await img.image.toBuffer(), from)
  assert.ok((await api.getSdModels()).length > 0)
  assert.ok((await api.getSamplers()).length > 10)
}

for (const client of [openai, aiSDK, stableDiffusionAPI]) {
  const began = Date.now()
  await client()
  console.log(client.name, '…', (Date.now() - began) / 1000, 's')
}
